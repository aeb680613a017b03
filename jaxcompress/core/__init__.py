"""The types and functions that every room shares; no compression method is here.

Glossary:
  allocation   how a sparsity is shared out: (scores, selected, sparsity) -> sparsity
               per leaf
  axes         what each axis of each leaf does: contracting, output or batch
  codebook     levels that a quantized leaf stores itself
  codes        the small integers that stand for weights
  companion    what a technique trains beside the params: init, view, freeze, penalty
  compressed   a leaf that stores its numbers in fewer bytes and materializes to an
               array
  criterion    what a weight is worth: init, update, score
  fn           the model as a pure function, fn(params, *inputs) -> outputs
  grid         what codes are read with: scale, second scale, zero point, codebook
  leaf         one array of the tree, or one compressed array
  levels       what codes stand for, in units of their scale
  mask         which weights stay; True keeps; broadcasts to its leaf
  materialize  from a compressed leaf to the plain array it stands for
  name         the path of a leaf joined by "/", for example "encoder/0/kernel"
  observer     what data tells us: init, update, read, merge
  params       every array the model stores, weights and statistics
  pattern      where weights may go: (scores, sparsity, axes) -> mask
  reading      what an observer learned, and from how many rows
  report       what was done to each leaf and why
  rules        ordered (pattern, value) pairs over names, first match wins
  scale        the real number one code step stands for
  schedule     step -> scalar
  select       which leaves: a selector, params -> tree of bool
  sharing      which entries of a leaf share a scale
  site         where a weight meets data in the program
  sparsity     fraction of weights removed
  spec         a number format: levels, sharing, and how scales are stored
  view         how the model sees its weights: params -> params
  when         at which steps something happens: step -> bool
  zero_point   the code that stands for exactly zero
"""
