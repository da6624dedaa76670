"""Where bytes live and what becomes of pictures; nothing here knows the database or HTTP."""
