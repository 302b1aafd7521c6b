"""Typed configuration: the schema of an experiment, the reader of `conf/`, what decides an identity.

Secrets and plugins.
"""
