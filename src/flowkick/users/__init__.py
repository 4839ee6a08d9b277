"""The contacts of an admin, with their tags and custom fields, and the events these tell of."""
