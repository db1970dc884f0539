"""Two stores compared, and what differs confirmed document by document."""
