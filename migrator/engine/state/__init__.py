"""What a job remembers, in SQLite files of the state folder."""
