"""The embedded servers and the supervisor behind `medallion up`."""
