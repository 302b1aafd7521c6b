"""Asking a paid or shared service at scale: transcripts, limits, retries, a budget, batch files. It knows no teacher and no stage."""
