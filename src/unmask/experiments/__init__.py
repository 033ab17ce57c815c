"""The paper's findings on real data at our size, behind `unmask experiment`: a folder each, code and YAML."""
