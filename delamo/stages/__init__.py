"""One verb, one file, one artifact. Stages never import one another; `delamo.pipeline` puts them in order."""
