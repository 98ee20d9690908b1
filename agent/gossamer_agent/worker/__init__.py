"""The process that calls user code. Standard library only, plus cloudpickle beside it."""
