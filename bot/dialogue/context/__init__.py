"""What a message means in its conversation: `wording` reads its words, `choice` weighs the entries they may ask for,
`reading` searches and puts the two together. The pipeline asks `reading` alone, beside a few of `wording`'s words.
"""
