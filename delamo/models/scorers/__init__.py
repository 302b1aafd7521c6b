"""Models that score or embed samples for a selector: sentence encoder, IFD scorer, hidden states, gradients."""
