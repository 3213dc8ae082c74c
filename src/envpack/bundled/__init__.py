"""What travels in a bundle to do its work on the far side, where there is no envpack."""
