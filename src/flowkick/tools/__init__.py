"""What users book or redeem."""
