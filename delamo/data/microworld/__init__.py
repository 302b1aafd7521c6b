"""The microworld: a planted-skill benchmark of images, questions and worked answers, generated from seeds.

scene.py      what stands where: a 2 x 2 grid of colored shapes and handwritten digits
render.py     a scene as a 48 x 48 image
questions/    the kinds of question: what each asks, the skills it needs, the worked answer
catalogue.py  which kinds make up the pool's families and the seven targets, and in whose wording
examples.py   one example from its address; nothing is stored, a million samples are a million integers
truth.py      the planted skills and the false sentences of a rationale; only the metrics may import it
"""
