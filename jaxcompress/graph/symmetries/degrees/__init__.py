"""What a factor per channel on a leaf becomes in every value of the program."""
