"""What notebooks share: pictures in one style, and made-up data. No models, no loops."""
