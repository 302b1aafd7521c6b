"""Loading, processors, chat templates, batches, decoding and adapters of models in transformers."""
