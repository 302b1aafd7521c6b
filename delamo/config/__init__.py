"""Typed configuration: the schema of an experiment, the reader of `conf/`, what decides an identity, secrets and plugins."""
