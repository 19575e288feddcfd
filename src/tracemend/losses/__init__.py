"""What was lost: marked losses, suspected ones, and the buffer that would have held them."""
