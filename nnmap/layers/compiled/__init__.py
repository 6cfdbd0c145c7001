"""All reads of a layer in one compiled pass: drive, product, conversion, decoding."""
