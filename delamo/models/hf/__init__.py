"""Shared by students and local teachers of transformers: loading, processors, chat templates, batches, decoding, adapters."""
