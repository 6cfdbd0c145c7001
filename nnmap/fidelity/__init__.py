"""How a column current is computed: readers, extraction, the fit of cells that bend."""
