"""Progressive delivery: a challenger goes replay -> shadow -> 1 -> 5 -> 25 -> 50 -> 100 % of symbols, or back."""
