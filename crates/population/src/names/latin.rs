//! Names of those who write Latin, or whose papers do, with their marks. Lists of this population's own, as in
//! [`super::cyrillic`].

use super::{Families, People};

pub(super) const PEOPLES: &[People] =
    &[GERMAN, POLISH, CZECH, NORDIC, IBERIAN, FRENCH, TURKIC, ARABIC, AFRICAN, VIETNAMESE, INDIAN];

const GERMAN: People = People {
    weight: 130,
    language: None,
    women: "Anna, Maria, Sabine, Ursula, Karin, Jürgine, Käthe|Katharina, Bärbel|Barbara, Ute, Heike, Petra, Claudia, \
        Susanne, Birgit, Gisela, Monika, Renate, Sophie, Lea, Mia, Emma, Hannah|Hanna, Lena, Clara|Klara, Johanna, \
        Charlotte, Zoë, Paula, Frieda|Frida, Greta, Annegret, Rosemarie, Marie-Luise, Anne-Kathrin, Jördis, Veronika, \
        Theresa|Teresa, Elisabeth, Magdalena, Ingrid",
    men: "Jürgen, Jörg, Günther|Günter, Björn, Götz, Rüdiger, Peter, Michael, Thomas, Andreas, Wolfgang, Klaus|Claus, \
        Stefan|Stephan, Uwe, Dieter, Frank, Bernd|Bernhard, Matthias, Philipp|Philip, Lukas|Lucas, Jonas, Felix, \
        Max|Maximilian, Paul, Ben, Karl-Heinz, Hans-Jörg, Markus|Marcus, Sören, Volker, Heinrich, Ludwig, Moritz, \
        Niklas, Emil, Oskar|Oscar, Anton, Till, Joachim, Ralf",
    fathers: "",
    families: Families::Made {
        stems: "Stein, Berg, Wald, Lind, Rosen, Eich, Schön, Grün, Schwarz, Kirch, Mühl, Hof, Ober, Unter, Neu, Alt, Wein, \
            Korn, Birn, Holz, Sand, Kalten, Reich, Brück, Löw, König, Fried, Gold, Silber, Eisen, Kupfer, Groß, Klein, \
            Weiß, Roth, Bäum, Hirsch, Vogel, Fisch, Wolf, Bach, Buch, Ehren, Früh, Heid, Kreuz, Lichten, Mar, Nuß, \
            Öhl, Quell, Ritt, Schäf, Thal, Ulm, Zieg",
        endings: "er, mann, müller, berger, bauer, feld, meier, hofer, städter, ner",
    },
};

const POLISH: People = People {
    weight: 60,
    language: None,
    women: "Anna, Katarzyna, Małgorzata, Agnieszka, Krystyna, Barbara, Ewa, Elżbieta, Zofia, Teresa, Magdalena, Joanna, \
        Aleksandra, Monika, Danuta, Natalia, Julia, Maja, Wiktoria, Łucja, Halina, Jadwiga, Bożena, Grażyna, Kinga, \
        Paulina, Oliwia, Hanna, Weronika, Świętosława",
    men: "Piotr, Krzysztof, Andrzej, Tomasz, Paweł, Jan, Michał, Marcin, Jakub, Adam, Łukasz, Marek, Grzegorz, Mateusz, \
        Wojciech, Zbigniew, Jerzy, Maciej, Szymon, Kacper, Stanisław, Józef, Władysław, Rafał, Robert, Mariusz, \
        Jarosław, Ignacy, Bartłomiej, Miłosz",
    fathers: "",
    families: Families::Made {
        stems: "Kowal, Nowa, Wiśniew, Wójci, Kamiń, Lewandow, Zieliń, Szymań, Woźnia, Dąbrow, Kozłow, Jankow, Mazur, \
            Kwiatkow, Krawczy, Piotrow, Grabow, Pawłow, Michal, Król, Wieczor, Jabłoń, Wróbl, Majew, Olszew, Stępie, \
            Malinow, Jaworow, Gór, Rutkow, Sikor, Baran, Ostrow, Tomasz, Pietrz, Marcini, Zawadz, Jakubow, Sadow, \
            Żukow",
        endings: "ski/ska, czyk, ak, ewicz, ek",
    },
};

const CZECH: People = People {
    weight: 30,
    language: None,
    women: "Jana, Marie, Eva, Hana, Anna, Lenka, Kateřina, Věra, Lucie, Alena, Petra, Jaroslava, Tereza, Martina, Jitka, \
        Ludmila, Božena, Zdeňka, Růžena, Barbora, Kristýna, Nikola, Eliška, Adéla, Zuzana",
    men: "Jiří, Jan, Petr, Josef, Pavel, Martin, Tomáš, Jaroslav, Miroslav, František, Zdeněk, Václav, Michal, Karel, \
        Lukáš, Jakub, Milan, Ondřej, Vojtěch, David, Marek, Filip, Dušan, Radek, Štěpán",
    fathers: "",
    families: Families::Made {
        stems: "Nov, Dvoř, Čern, Proch, Kuč, Vesel, Hor, Něm, Mar, Pospíš, Haj, Král, Jel, Růž, Ben, Fial, Sedl, Dolež, \
            Zem, Kol, Nav, Čerm, Vaň, Urb, Kratochv, Ši, Pol, Svob, Holub, Musil",
        endings: "ák/áková, ek/ková, ý/á, ec/cová, il/ilová, ka/ková",
    },
};

const NORDIC: People = People {
    weight: 25,
    language: None,
    women: "Åse, Ingrid, Kari, Astrid, Solveig, Bjørg, Gunhild, Märta, Sølvi, Freja|Freya, Linnéa, Elin, Sigrid, Maja, \
        Ebba, Liv, Åsa, Birgitta, Karin, Þórdís, Nora, Emilie, Ida, Hjördis, Ragnhild",
    men: "Bjørn, Lars, Jørgen, Søren, Håkon, Åke, Øyvind, Göran, Björn, Magnus, Erik|Eric, Olav, Gunnar, Sven, Nils, \
        Anders, Kåre, Mads, Rasmus, Jens, Þór, Leif, Tor|Thor, Asbjørn, Kristoffer",
    fathers: "",
    families: Families::Made {
        stems: "Hans, Ander, Niel, Peder, Ras, Jørgen, Søren, Lar, Ol, Krist, Berg, Lind, Åker, Sjö, Nord, Öst, Väst, \
            Strøm, Høg, Bjørk, Hol, Dal, Fjell, Solen, Ek",
        endings: "sen, son, ström, gård, qvist, mo",
    },
};

const IBERIAN: People = People {
    weight: 100,
    language: None,
    women: "María, Carmen, Josefa, Isabel, Ana, Dolores, Pilar, Laura, Sofía|Sofia, Lucía|Lucia, Marta, Elena|Helena, \
        Inês|Ines, Beatriz, Catarina, Mariana, Francisca, Rosário, Fátima, Conceição, Núria, Ximena|Jimena, Verónica, \
        Valentina, Camila, Daniela, Paula, Andrea, Cristina, Rocío, Ángeles, Esperanza, Luísa|Luisa, Teresa, Leonor, \
        Alma, Luz, Nieves, Itziar, Begoña",
    men: "José, Antonio|António, Juan, Manuel, Francisco, João, Luís|Luis, Javier|Xavier, Carlos, Miguel, Ángel, Jesús, \
        Pedro, Rafael, Fernando, Jorge, Alberto, Álvaro, Diego, Sérgio|Sergio, Pablo, Andrés, Tiago, Gonçalo, Duarte, \
        Nuno, Mateo|Mateus, Joaquín|Joaquim, Ramón, Vicente, Raúl, Rubén, Iván, Óscar, Iñaki|Ignacio, Simão, Hugo, \
        Martín, Nicolás, Sebastián",
    fathers: "",
    families: Families::Double(
        "García, Fernández, González, Rodríguez, López, Martínez, Sánchez, Pérez, Gómez, Martín, Jiménez, Ruiz, \
            Hernández, Díaz, Moreno, Muñoz, Álvarez, Romero, Gutiérrez, Alonso, Navarro, Torres, Domínguez, Vázquez, \
            Ramos, Gil, Ramírez, Serrano, Blanco, Molina, Suárez, Castro, Ortega, Delgado, Ortiz, Marín, Rubio, Núñez, \
            Medina, Sanz, Castillo, Iglesias, Cortés, Garrido, Santos, Guerrero, Lozano, Cano, Cruz, Méndez, Flores, \
            Prieto, Herrera, Peña, León, Márquez, Cabrera, Gallego, Calvo, Vidal, Campos, Reyes, Vega, Fuentes, \
            Carrasco, Díez, Aguilar, Caballero, Nieto, Silva, Gonçalves, Conceição, Araújo, Magalhães, Simões, \
            Guimarães, Brandão, Leitão, Assunção, Galvão",
    ),
};

const FRENCH: People = People {
    weight: 40,
    language: None,
    women: "Marie, Hélène, Françoise, Zoé, Chloé, Léa, Inès, Camille, Anaïs, Noémie, Céline, Aurélie, Valérie, Geneviève, \
        Thérèse, Renée, Agnès, Océane, Clémence, Anne-Sophie, Maëlle, Éloïse, Manon, Juliette, Salomé",
    men: "Jean, Frédéric, François, René, André, Jérôme, Rémi|Rémy, Grégoire, Théo, Noël, Loïc, Benoît, Étienne, Gaël, \
        Jean-Pierre, Jean-François, Éric|Erik, Cédric, Maël, Raphaël, Hervé, Anaël, Luc, Sébastien, Mathéo",
    fathers: "",
    families: Families::Made {
        stems: "Du, De, La, Le, Mer, Bel, Beau, Mont, Vill, Chât, Roch, Fort, Clé, Gér, Bér, Mar, Perr, Col, Gros, Blan, \
            Fabr, Lef, Bou, Cha, Per, Mor, Gir, Laur, Sim, Rol",
        endings: "ois, champ, ard, ault, elle, eau, ière, ont, mène, çon",
    },
};

const TURKIC: People = People {
    weight: 70,
    language: None,
    women: "Ayşe, Fatma, Emine, Hatice, Zeynep, Elif, Meryem, Şerife, Zehra, Sultan, Hanife, Merve, Havva, Özlem, Yasemin, \
        Büşra, Esra, Gülşen, Gül, Hülya, Şükran, Çiğdem, Ebru, Songül, Tuğba, Aysel, Leyla, İrem, Nurgül, Aygün",
    men: "Mehmet|Mehmed, Mustafa, Ahmet|Ahmed, Ali, Hüseyin, Hasan, İbrahim, İsmail, Osman, Yusuf, Murat, Ömer, Ramazan, \
        Halil, Süleyman, Abdullah, Mahmut, Recep, Salih, Fatih, Kadir, Emre, Hakan, Adem, Kerem, Çağrı, Oğuz, Şahin, \
        Barış, Elçin",
    fathers: "",
    families: Families::Made {
        stems: "Ak, Kara, Öz, Demir, Er, Gül, Yıl, Taş, Koç, Çelik, Şen, Gök, Al, Bay, Can, Doğan, Gün, Işık, Kaya, Kılıç, \
            Sarı, Tan, Tekin, Uz, Yağ, Yüce, Boz, Çağ, Əli, Məmməd",
        endings: "türk, oğlu, soy, er, kan, taş, demir, doğan, sever, ay, yev/yeva, cı",
    },
};

const ARABIC: People = People {
    weight: 85,
    language: None,
    women: "Fatima|Fatma, Aisha|Aicha, Mariam|Maryam, Khadija|Hadija, Zainab|Zeinab, Nour|Noor, Layla|Leila, Huda|Houda, \
        Salma, Rania, Yasmin|Yasmine, Amina, Samira, Rasha, Dalia, Hanan, Nadia, Sara|Sarah, Rim|Reem, Iman|Eman, \
        Shirin|Shireen, Parisa, Nasrin|Nasreen, Zahra, Mahsa, Farida, Soraya|Thuraya, Rukhsana, Gulnaz, Malika",
    men: "Mohammed|Mohamed|Muhammad, Ahmed|Ahmad, Ali, Hassan|Hasan, Hussein|Husain, Omar|Umar, Youssef|Yusuf|Yousef, \
        Ibrahim, Khalid|Khaled, Abdullah|Abdallah, Mahmoud|Mahmud, Mustafa|Moustafa, Samir|Sameer, Tariq|Tarek, \
        Karim|Kareem, Bilal, Hamza, Rashid|Rachid, Said|Saeed, Jamal|Djamal, Farid|Fareed, Reza, Mehdi|Mahdi, Hamid, \
        Navid, Abdul Rahman|Abdurrahman, Zia, Najib, Walid, Anwar",
    fathers: "",
    families: Families::Made {
        stems: "_, Al-, El_, Abu_, Ben_, Haj_",
        endings: "Ahmadi, Hassan, Ibrahim, Khalil, Mansour, Nasser, Rahimi, Saleh, Haddad, Najjar, Masri, Shami, Khoury, \
            Hosseini, Karimi, Rostami, Nazari, Sultani, Barzani, Ghazali, Farouk, Zubair, Sarkis, Qasim, Jabari, \
            Hamdan, Darwish, Suleiman, Othman, Bakri, Tahir, Yazdi, Wardak, Noorzai, Popal, Jaziri, Maghribi, Tunsi, \
            Obeid, Atassi",
    },
};

const AFRICAN: People = People {
    weight: 45,
    language: None,
    women: "Adaeze, Chioma, Ngozi, Amara, Fatou, Aminata, Abeba, Selam, Hirut, Rahel, Blessing, Grace, Esther, Akosua, \
        Ama, Efua, Wanjiru, Achieng, Thandiwe, Nomsa, Zanele, Mariama, Hodan, Ifrah, Sahra, Tsehay, Kidist, Folake, \
        Yetunde, Ẹniọlá",
    men: "Chidi, Emeka, Obinna, Tunde, Kofi, Kwame, Kwabena, Lamin, Ousmane, Mamadou, Tesfaye, Yonas, Dawit, Haile, \
        Bereket, Abdi, Farah, Warsame, Juma, Baraka, Kamau, Otieno, Sipho, Themba, Tendai, Emmanuel, Samuel, Moses, \
        Isaac|Isaak, Sékou",
    fathers: "",
    families: Families::Made {
        stems: "Oka, Oko, Ade, Ola, Chukwu, Nwa, Aki, Ogu, Eze, Afo, Dia, Tra, Kei, Sow, Ndi, Men, Owu, Boa, Asa, Gebre, \
            Wolde, Tekle, Ha, Abe, Mo, Ndlo, Mthe, Kama, Wa, Cee",
        endings: "for, ro, bayo, wale, llo, re, ta, sah, su, mariam, michael, be, yo, vu, say",
    },
};

const VIETNAMESE: People = People {
    weight: 20,
    language: None,
    women: "Thị Hương, Thị Lan, Thị Mai, Thị Hoa, Thu Hà, Ngọc Anh, Minh Châu, Thanh Thảo, Phương Linh, Thùy Dung, Bích \
        Ngọc, Kim Oanh, Diễm My, Thị Thu, Thị Nga, Hồng Nhung, Quỳnh Như, Mỹ Duyên, Khánh Ly, Bảo Trâm",
    men: "Văn Hùng, Văn Dũng, Minh Tuấn, Quốc Bảo, Đức Anh, Hữu Nghĩa, Thanh Tùng, Văn Nam, Hoàng Long, Gia Huy, Quang \
        Vinh, Đình Phong, Ngọc Sơn, Xuân Trường, Công Thành, Anh Khoa, Tấn Phát, Việt Cường, Trung Kiên, Bá Lộc",
    fathers: "",
    families: Families::Listed(
        "Nguyễn, Trần, Lê, Phạm, Hoàng, Huỳnh, Phan, Vũ, Võ, Đặng, Bùi, Đỗ, Hồ, Ngô, Dương, Lý, Đinh, Trương, Mai, \
            Tô, Đào, Lâm, Trịnh, Cao",
    ),
};

const INDIAN: People = People {
    weight: 35,
    language: None,
    women: "Priya, Anjali, Pooja|Puja, Neha, Sunita, Lakshmi|Laxmi, Divya, Kavita|Kavitha, Meena|Mina, Rekha, Sita|Seetha, \
        Deepa|Dipa, Nisha, Swati|Swathi, Asha, Geeta|Gita, Radha, Shanti|Shanthi, Usha, Vidya",
    men: "Rahul, Amit, Sanjay, Vijay, Rajesh, Suresh, Arjun, Ravi, Manoj, Anil, Deepak|Dipak, Ashok, Kiran, \
        Vikram|Bikram, Sunil, Prakash, Krishna, Gurpreet, Harpreet, Ramesh",
    fathers: "",
    families: Families::Made {
        stems: "Shar, Ver, Ban, Chat, Mukh, Bhat, Rao, Kri, Gup, Pat, Sin, Jos, Nai, Red, Kul, Desh, Gho, Dha, Mal, Ran",
        endings: "ma, erjee, tacharya, el, gh, hi, ta, karni, mukh, dhury, war, an",
    },
};
