"""What students and local teachers share of transformers: loading, processors, templates, batches, decoding, adapters."""
