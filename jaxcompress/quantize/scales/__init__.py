"""Scale searches: which stored scale each block gets, for formats of two levels."""
