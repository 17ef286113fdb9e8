"""The networks: LVLM, RVLS2M, segmenter and their composition. Know nothing of files or Slicer."""
