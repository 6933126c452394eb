"""The generated demo corpus: real H.264 files with sound, and transcripts as YouTube writes them.

A *step* is one of 36 things that a scene can show: one of six appearances (a coloured shape) in one of six motions.
No single frame tells two motions of a shape apart, and no motion tells two shapes apart. A video is three or four
scenes with different steps; some videos come in pairs that hold the same steps in another order.

* `settings`  what is drawn and how hard it is: `CorpusSettings`
* `steps`     the vocabulary: appearances, motions and how a narrator words them
* `compose`   which video shows which steps when, splits and pairs; pure and seeded
* `draw`      a scene's frames; numpy only
* `captions`  the narrator, and WebVTT in the manner of YouTube's automatic captions
* `encode`    frames -> mp4 (the only module that starts ffmpeg)
* `record`    `corpus.json`: what was rendered, and whether it still lies there
* `render`    `render_corpus`: the whole, resumable

What lies in the folder afterwards::

    corpus.json  splits.csv  steps.csv  example_sentence.txt  example_paragraph.txt
    places.txt  places_train.txt  places_val.txt  places_test.txt   (with num_places)
    videos/demo-0000.mp4  videos/demo-0000.vtt  ...
"""
