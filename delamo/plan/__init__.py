"""`delamo plan`: what a cell or a grid would compute, ask and take, without computing, asking or downloading anything.

overrides -> configs (compose_grid) -> graphs (opening) -> distinct stages (counting) -> calls, hours, disk -> text
"""
