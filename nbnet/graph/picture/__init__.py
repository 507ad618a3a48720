"""Pictures of a graph: as a diagram, and the diagram as Mermaid, DOT or SVG text."""
