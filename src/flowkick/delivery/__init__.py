"""Getting recorded events to their receivers: claim, send, record, and what these stand on."""
