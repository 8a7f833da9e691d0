"""The processes of the pipeline and its operators' tools."""
