"""Stand-in venues: real servers on loopback that speak a venue's protocol, replay data, and fail on demand."""
