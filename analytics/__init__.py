"""Figures about everything below; owns only rollup and alert tables. Empty so far."""
