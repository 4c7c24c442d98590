"""Documents that do not belong: pages in other languages and pages about other things."""

from __future__ import annotations

FOREIGN = (
    ("de", "Willkommen", (
        "Herzlich willkommen in unserem Garten. Wir freuen uns sehr, dass Sie heute bei uns sind.",
        "Bitte bleiben Sie auf den Wegen und berühren Sie die Pflanzen nicht. Kinder dürfen nur mit ihren Eltern an "
        "den Teich gehen. Im kleinen Laden neben dem Eingang gibt es Karten, Bücher und Samen für den eigenen Garten.",
        "Wenn Sie Fragen haben, sprechen Sie bitte mit unseren Gärtnern. Sie helfen Ihnen immer gern weiter.",
    )),
    ("de", "Der alte Baum", (
        "Mitten auf der Wiese steht ein alter Baum. Niemand weiß genau, wer ihn gepflanzt hat.",
        "Im Sommer sitzen viele Leute in seinem Schatten und essen ihr Brot. Im Winter trägt er eine weiße Mütze aus "
        "Schnee, und die Vögel suchen zwischen seinen Wurzeln nach Körnern.",
        "Meine Großmutter hat mir erzählt, dass sie schon als kleines Mädchen auf seine Äste geklettert ist.",
    )),
    ("fr", "Bienvenue", (
        "Bienvenue dans notre jardin. Nous sommes très heureux de vous voir aujourd'hui.",
        "Merci de rester sur les chemins et de ne pas toucher les plantes. Les enfants doivent rester près de leurs "
        "parents. Dans la petite boutique à côté de l'entrée, vous trouverez des cartes, des livres et des graines.",
        "Si vous avez des questions, parlez avec nos jardiniers. Ils sont toujours là pour vous aider.",
    )),
    ("fr", "Une journée d'été", (
        "Hier, il faisait très chaud et nous sommes allés au bord de la rivière avec nos amis.",
        "Les garçons ont nagé tout l'après-midi pendant que les filles préparaient un grand gâteau aux pommes. Le "
        "soir, tout le monde a chanté autour du feu et personne ne voulait rentrer à la maison.",
        "C'était la plus belle journée de nos vacances, et nous voulons y retourner l'année prochaine.",
    )),
    ("es", "Bienvenidos", (
        "Bienvenidos a nuestro jardín. Estamos muy contentos de verlos hoy aquí.",
        "Por favor, caminen por los senderos y no toquen las plantas. Los niños deben estar siempre con sus padres. En "
        "la pequeña tienda que está junto a la entrada hay mapas, libros y semillas para su propio jardín.",
        "Si tienen preguntas, hablen con nuestros jardineros. Siempre les ayudan con mucho gusto.",
    )),
    ("es", "La carta de mi abuelo", (
        "Mi abuelo vive en un pueblo pequeño cerca del mar y cada mes me escribe una carta muy larga.",
        "En la última carta me contó que su perro se había escapado y que toda la gente del pueblo lo buscó durante "
        "tres días. Al final lo encontraron durmiendo en la cocina de la panadería.",
        "Ahora el perro está más gordo que antes, y mi abuelo dice que nunca volverá a escaparse.",
    )),
)  # fmt: skip

OFF_TOPIC = (
    ("Cheap used cars", (
        "We buy and sell used cars at the lowest prices in town. Every car has new tires, a full tank and a clean "
        "engine. Trade in your old car today and drive home in a better one.",
        "Our bank gives you a loan in ten minutes, and you pay nothing for the first half year. Call our team now, "
        "because this offer ends soon. No other dealer has such engines, such brakes and such radios.",
    )),
    ("Football results", (
        "The home team won the match on Saturday with two goals in the second half. The goalkeeper was the best man "
        "on the pitch and stopped a penalty just before the end.",
        "Next week the team will travel to the coast, where it has lost the last three matches. The coach said that "
        "his players are tired, but that they will fight until the last minute.",
    )),
    ("How to speed up your computer", (
        "A slow computer is often full of programs that nobody uses. Open the settings, look at the list of programs "
        "and delete what you have never opened. Then restart the machine.",
        "If this does not help, the hard disk may be full. Copy your photos and films to another disk and empty the "
        "bin. A new memory chip is cheap and makes every computer faster.",
    )),
    ("Win big tonight", (
        "Play our online slots and win big tonight! New players get one hundred free spins and a double bonus. The "
        "jackpot has never been higher, and every minute somebody wins real money.",
        "Just sign up with your credit card, choose a game and spin the wheel. Our casino is open all night, and our "
        "dealers are waiting for you. Gamble now, think later!",
    )),
    ("Chicken soup in one hour", (
        "Put a whole chicken in a large pot with two onions, some salt and enough cold water to cover it. Let it cook "
        "slowly for an hour and take away the foam from time to time.",
        "Take the meat from the bones, cut it into small pieces and put it back. Cook the noodles in another pot, so "
        "that the soup stays clear. Serve it hot with fresh bread and butter.",
    )),
    ("Our new phone plans", (
        "Our new phone plans give you more data for less money. Talk as long as you like, send as many messages as "
        "you like, and watch films on your phone wherever you are.",
        "You can keep your old number, and a new phone is part of every plan. The contract runs for two years. If you "
        "order online, we send your card without any extra cost.",
    )),
    ("A night at the opera", (
        "The singer came on the stage in a golden dress, and the whole hall became quiet. Her voice was so strong "
        "that even the last row could hear each word of the sad song.",
        "After the second act there was a long break. People drank wine in the lobby and talked about the king, who "
        "dies in the last scene. The orchestra played better than it had for a long time.",
    )),
    ("Town council minutes", (
        "The council met to talk about the new parking lot behind the station. Two members were against it because of "
        "the noise, but most thought that the town needs more room for cars.",
        "After a long debate the plan was accepted. The tax on second homes will go up next year, and the swimming "
        "pool will get a new roof. The meeting ended late in the night.",
    )),
)  # fmt: skip
