"""QR codes: made, drawn, validated, and scanned once, each with its event."""
