"""How the small SAM that ships with lczlib is made: training scenes, training, evaluation."""
