"""K-FAC: its layers read from the program, their factors, the natural step."""
