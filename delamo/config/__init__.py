"""Typed configuration: composing, the reader of `conf/`, identities of results, secrets and plugins."""
