"""How right are fills? Menders on gaps whose truth is known, experiments, tables and figures."""
