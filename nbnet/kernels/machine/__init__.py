"""What is written in LLVM instructions: the tile, small copies, elementary functions, waiting."""
