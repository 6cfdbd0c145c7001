"""What users write in TOML: sections, files, sweeps and code of their own."""
