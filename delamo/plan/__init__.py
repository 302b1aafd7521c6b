"""`delamo plan`: what an experiment or a grid would compute, ask and take, without computing.

Asking or downloading anything.

overrides -> configs (delamo.config.grid) -> planned stages (offline) -> distinct stages (counting) -> calls, hours,
disk -> text
"""
