"""Where units run: in this process, or on Ray. The bytes are the same."""
