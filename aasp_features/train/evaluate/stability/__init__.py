"""How steady an encoder's vectors are, and what they tell of modulation."""
