"""OpenSpiel's games: who moves, what players see, exact players, recordings, exploitability.

Needs the extra ``board_games`` and neither Ray nor torch.
"""
