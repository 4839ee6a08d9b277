"""What users did, as it is kept and read: tools, bookings, QR codes, interactions, conversations.

Tables, and the newest rows of many users at once. What may become of them is above: in `bookings`,
`qr_codes`, `conversations`, and in `users` for interactions.
"""
