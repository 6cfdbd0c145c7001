"""From weights to programmes: encodings, placements, converters, decoders."""
