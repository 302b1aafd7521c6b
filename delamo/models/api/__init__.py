"""Requests to a paid or shared service at scale: transcripts, limits, retries, a budget, batch files."""
