"""Self-contained pages: of a study, of a calibration."""
