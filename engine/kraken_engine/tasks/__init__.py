"""The nursery tree: one thin shell per task around the decisions of the other folders."""
